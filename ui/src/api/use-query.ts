// Asks a question while a component shows it: one that is no longer wanted is cancelled, and an
// answer that was seen a moment ago is shown at once (the back button, a switch of views).

import { useEffect, useState } from "react";
import { AGAIN } from "../shell/connection";
import { ApiError } from "./client";

export interface Query<Answer> {
  data: Answer | undefined;
  /** The data answers an earlier question; the new answer is on its way. */
  stale: boolean;
  error: Error | undefined;
  loading: boolean;
}

/** Of each kind of question so many answers; a flame graph can take tens of megabytes. */
const REMEMBERED = 4;
const answers = new Map<string, unknown>();

function remember(key: string, answer: unknown): void {
  answers.delete(key);
  answers.set(key, answer);
  const kind = key.slice(0, key.indexOf(" ") + 1);
  const same = [...answers.keys()].filter((each) => each.startsWith(kind));
  for (const old of same.slice(0, Math.max(0, same.length - REMEMBERED))) answers.delete(old);
}

interface Held<Answer> {
  key: string;
  data: Answer | undefined;
  error: Error | undefined;
}

/**
 * `key` tells questions apart and must hold everything that `ask` depends on; null asks nothing.
 */
export function useQuery<Answer>(key: string | null, ask: (signal: AbortSignal) => Promise<Answer>): Query<Answer> {
  const [held, setHeld] = useState<Held<Answer>>({ key: "", data: undefined, error: undefined });

  const [attempt, setAttempt] = useState(0);
  const failed = held.key === key && held.error !== undefined;
  useEffect(() => {
    if (!failed) return;
    const again = () => setAttempt((count) => count + 1);
    window.addEventListener(AGAIN, again);
    return () => window.removeEventListener(AGAIN, again);
  }, [failed]);

  useEffect(() => {
    if (key === null) return;
    if (answers.has(key)) {
      setHeld({ key, data: answers.get(key) as Answer, error: undefined });
      return;
    }
    const controller = new AbortController();
    ask(controller.signal).then(
      (data) => {
        if (controller.signal.aborted) return;
        remember(key, data);
        setHeld({ key, data, error: undefined });
      },
      (error: unknown) => {
        if (controller.signal.aborted) return;
        const failure = error instanceof Error ? error : new Error(String(error));
        // A server that restarts leaves what is shown where it is; any other failure is this question's
        // own, and the answer to an earlier one must not stand under it.
        const away = failure instanceof ApiError && failure.status === 0;
        setHeld((before) => ({ key, data: away ? before.data : undefined, error: failure }));
      },
    );
    return () => controller.abort();
    // `key` stands for everything that `ask` closes over.
  }, [key, attempt]);

  const current = held.key === key;
  const known = key !== null && !current ? (answers.get(key) as Answer | undefined) : undefined;
  return {
    data: known ?? held.data,
    stale: !current && known === undefined && held.data !== undefined,
    error: current ? held.error : undefined,
    loading: key !== null && !current && known === undefined,
  };
}
