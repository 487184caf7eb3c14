// Where functions come from: their source files, and the modules of frames without a name. Asked for only
// when either is shown, because flame graph answers carry names alone.

import { places } from "../api/queries";
import { useQuery } from "../api/use-query";
import type { Places } from "../profile/pprof";
import type { Range } from "../profile/time";

export function usePlaces(where: string | null, type: string, selector: string, range: Range): Places | undefined {
  return useQuery(where === null ? null : `places ${where}`, (signal) => places(type, selector, range, signal)).data;
}
