// One call of the query API: the Connect protocol with JSON bodies.

import { text } from "../text";

/** What went wrong, in the server's own words where it answered. */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;

  constructor(message: string, code: string, status: number) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
  }
}

export async function call<Answer>(method: string, body: object, signal: AbortSignal): Promise<Answer> {
  let response: Response;
  try {
    response = await fetch(`/querier.v1.QuerierService/${method}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "*/*; allow-utf8-labelnames=true" },
      body: JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError(text.errors.unreachable, "unavailable", 0);
  }
  if (!response.ok) throw await errorOf(response);
  return (await response.json()) as Answer;
}

async function errorOf(response: Response): Promise<ApiError> {
  const body = await response.text().catch(() => "");
  try {
    const { code, message } = JSON.parse(body) as { code?: string; message?: string };
    if (message) return new ApiError(message, code ?? "unknown", response.status);
  } catch {
    // Not JSON: a proxy's page, or nothing. The status says the most.
  }
  return new ApiError(text.errors.status(response.status, response.statusText), "unknown", response.status);
}
