import { expect, test } from "vitest";
import { kindOf, parseProfileType, rateOf } from "./profile-type";

test.each([
  ["process_cpu:cpu:nanoseconds", "cpu", "cores"],
  ["process_cpu:cpu-time:nanoseconds", "cpu", "cores"],
  ["on_cpu:on_cpu:nanoseconds", "cpu", "cores"],
  ["process_cpu:samples:count", "samples", "count/s"],
  ["off_cpu:off_cpu:nanoseconds", "waiting", "waiting"],
  ["parca_agent:offcpu:nanoseconds", "waiting", "waiting"],
  ["jfr:park:nanoseconds", "waiting", "waiting"],
  ["pyroscope:lock_time:nanoseconds", "waiting", "waiting"],
  ["pyroscope:lock_count:count", "waiting", "count/s"],
  ["mutex:delay:nanoseconds", "waiting", "waiting"],
  ["block:contentions:count", "waiting", "count/s"],
  ["wall:wall:nanoseconds", "wall", "threads"],
  ["memory:inuse_space:bytes", "memory-in-use", "bytes"],
  ["gc:pause:nanoseconds", "other", "time/s"],
  ["clock:locked:nanoseconds", "waiting", "waiting"],
  ["blockchain:verified:milliseconds", "other", "time/s"],
])("%s is %s in %s", (id, kind, rate) => {
  const type = parseProfileType(`${id}::`)!;
  expect([kindOf(type), rateOf(type)]).toEqual([kind, rate]);
});
