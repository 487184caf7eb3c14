// Asks a question while a component shows it: one that is no longer wanted is cancelled, and an
// answer that was seen a moment ago is shown at once (the back button, a switch of views).

import { useEffect, useState } from "react";

export interface Query<Answer> {
  data: Answer | undefined;
  /** The data answers an earlier question; the new answer is on its way. */
  stale: boolean;
  error: Error | undefined;
  loading: boolean;
}

const REMEMBERED = 12;
const answers = new Map<string, unknown>();

function remember(key: string, answer: unknown): void {
  answers.delete(key);
  answers.set(key, answer);
  const oldest = answers.keys().next();
  if (answers.size > REMEMBERED && !oldest.done) answers.delete(oldest.value);
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
        // The answer to an earlier question must not stand under this one's failure.
        setHeld({ key, data: undefined, error: error instanceof Error ? error : new Error(String(error)) });
      },
    );
    return () => controller.abort();
    // `key` stands for everything that `ask` closes over.
  }, [key]);

  const current = held.key === key;
  const known = key !== null && !current ? (answers.get(key) as Answer | undefined) : undefined;
  return {
    data: known ?? held.data,
    stale: !current && known === undefined && held.data !== undefined,
    error: current ? held.error : undefined,
    loading: key !== null && !current && known === undefined,
  };
}
