// The source file of each function: asked for only when functions are grouped by it, because flame
// graph answers carry names alone.

import { mergedProfile } from "../api/queries";
import { useQuery } from "../api/use-query";
import type { Files } from "../profile/reshape";
import type { Range } from "../profile/time";

export function useFiles(where: string | null, type: string, selector: string, range: Range): Files | undefined {
  return useQuery(where === null ? null : `files ${where}`, async (signal) => (await mergedProfile(type, selector, range, signal)).files).data;
}
