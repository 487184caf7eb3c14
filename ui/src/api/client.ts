// One call of the query API: the Connect protocol, with JSON or protobuf bodies.

import type { Answers, Posted } from "./openapi";
import { lostServer } from "../shell/connection";
import { text } from "../text";

/** What went wrong, in the server's own words where it answered. */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  /** What the server's log has the request under. */
  readonly requestId: string;

  constructor(message: string, code: string, status: number, requestId = "") {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.requestId = requestId;
  }
}

const QUERIER = "/querier.v1.QuerierService/";
const ACCEPT = "*/*; allow-utf8-labelnames=true";

export async function call<Answer>(method: string, body: object, signal: AbortSignal): Promise<Answer> {
  const response = await ask(QUERIER + method, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: ACCEPT },
    body: JSON.stringify(body),
    signal,
  });
  return (await response.json()) as Answer;
}

export interface BinaryAnswer {
  bytes: Uint8Array;
  cost: ScanCost;
}

/** What the server read for an answer, and what it could not read. */
export interface ScanCost {
  rows: number;
  bytes: number;
  files: number;
  ms: number;
  partial: string;
}

/** The same in protobuf, for answers that would be tens of megabytes of JSON. */
export async function callBinary(method: string, body: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<BinaryAnswer> {
  const response = await ask(QUERIER + method, {
    method: "POST",
    headers: { "Content-Type": "application/proto", Accept: ACCEPT },
    body,
    signal,
  });
  return { bytes: new Uint8Array(await response.arrayBuffer()), cost: costOf(response.headers) };
}

export async function getBinary(path: string, signal: AbortSignal): Promise<BinaryAnswer> {
  const response = await ask(path, { signal });
  return { bytes: new Uint8Array(await response.arrayBuffer()), cost: costOf(response.headers) };
}

/** Everflame's own API: each path has one kind of answer. */
export async function getJson<Path extends keyof Answers>(path: Path, signal: AbortSignal, params?: URLSearchParams): Promise<Answers[Path]> {
  return (await (await ask(params ? `${path}?${params}` : path, { signal })).json()) as Answers[Path];
}

export async function postJson<Path extends keyof Posted>(path: Path, body: object, signal?: AbortSignal): Promise<Posted[Path]> {
  const init = { method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify(body), signal: signal ?? null };
  return (await (await ask(path, init)).json()) as Posted[Path];
}

/** A method of another service than the query API. */
export async function postConnect<Answer>(path: string, body: object): Promise<Answer> {
  return (await (await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json()) as Answer;
}

/** Asks, and turns every kind of failure into an `ApiError`. */
export async function ask(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    lostServer();
    throw new ApiError(text.errors.unreachable, "unavailable", 0);
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

function costOf(headers: Headers): ScanCost {
  const number = (name: string) => Number(headers.get(`x-everflame-${name}`) ?? 0) || 0;
  return {
    rows: number("scanned-rows"),
    bytes: number("scanned-bytes"),
    files: number("scanned-files"),
    ms: number("scan-milliseconds"),
    partial: headers.get("x-everflame-partial") ?? "",
  };
}

async function errorOf(response: Response): Promise<ApiError> {
  const requestId = response.headers.get("x-request-id") ?? "";
  const body = await response.text().catch(() => "");
  try {
    const { code, message } = JSON.parse(body) as { code?: string; message?: string };
    if (message) return new ApiError(message, code ?? "unknown", response.status, requestId);
  } catch {
    // Not JSON: a proxy's page, or nothing. The status says the most.
  }
  return new ApiError(text.errors.status(response.status, response.statusText), "unknown", response.status, requestId);
}
