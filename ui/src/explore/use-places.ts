// Where functions come from: their source files, and the modules of frames without a name. Asked for only
// when either is shown, because flame graph answers carry names alone.

import { mergedProfile } from "../api/queries";
import { useQuery } from "../api/use-query";
import type { Pprof } from "../profile/pprof";
import type { Range } from "../profile/time";

export type Places = Pick<Pprof, "files" | "modules">;

export function usePlaces(where: string | null, type: string, selector: string, range: Range): Places | undefined {
  return useQuery(where === null ? null : `places ${where}`, async (signal): Promise<Places> => {
    const { files, modules } = await mergedProfile(type, selector, range, signal);
    return { files, modules };
  }).data;
}
