import { describe, expect, test } from "vitest";
import { parseProfileType } from "./profile-type";
import { cadenceOf, stepThatFits, type Taken } from "./cadence";
import { askFor, fineStep, firstSeen, fromZero, gridOf, heaviestGroups, measuredMs, stacked, timelineOf, timelineOn } from "./timeline";

const cpu = parseProfileType("process_cpu:cpu:nanoseconds:cpu:nanoseconds")!;
/** Half a core in profiles of `every` seconds, booked on steps of `step` seconds. */
const steady = (from: number, until: number, every: number, step: number) =>
  Array.from({ length: (until - from) / every }, (_, i) => ({ time: Math.ceil((from + (i + 1) * every) / step) * step * 1000, value: every * 0.5e9 }));

test.each([
  [10, 5],
  [15, 5],
  [30, 15],
  [60, 5],
])("profiles every %i s on a grid of %i s make a level line to its very ends", (every, step) => {
  const range = { from: 0, until: 3_600_000 };
  const line = timelineOf(cpu, steady(600, 3000, every, step), range, step);
  const shown = line.values.filter((value) => value !== null);
  expect(shown.length).toBeGreaterThan(15);
  for (const value of shown) expect(value).toBeCloseTo(0.5, 1);
  expect([line.values[0], line.values.at(-1)]).toEqual([null, null]);
});

test.each([
  ["the whole range", 0, 3600, 3600],
  ["a part of it", 600, 2400, 1800],
  ["nothing", 0, 0, 0],
])("measured was %s", (_, from, until, seconds) => {
  expect(measuredMs(steady(from, until, 30, 15), { from: 0, until: 3_600_000 }, 15) / 1000).toBeCloseTo(seconds, -2);
});

test("two stretches with a pause between them count without the pause, and what lies outside of the range not at all", () => {
  const points = [...steady(0, 600, 60, 60), ...steady(1800, 2400, 60, 60), ...steady(5400, 6000, 60, 60)];
  expect(measuredMs(points, { from: 0, until: 3_600_000 }, 60, { duration: 60, interval: 60 })).toBe(1_200_000);
});

/** What the server answers for profiles of `duration` seconds every `every`, of half a core while they last. */
function asked(range: { from: number; until: number }, processes: { phase: number; every: number; duration: number; pod: string }[], begin = -1e6) {
  const taken: Taken[] = processes.flatMap(({ phase, every, duration, pod }) =>
    Array.from({ length: Math.floor(range.until / 1000 / every) + 1 }, (_, i) => ({ time: (phase + i * every) * 1000, duration: duration * 1000, labels: { pod } })).filter(
      ({ time }) => time >= begin && time + duration * 1000 <= range.until,
    ),
  );
  const cadence = cadenceOf(taken);
  const { range: over, step } = askFor(range, fineStep(range), cadence);
  const sums = new Map<number, number>();
  for (const { time, duration } of taken) {
    if (time <= over.from - step * 1000) continue;
    const at = over.from + Math.ceil((time - over.from) / (step * 1000)) * step * 1000;
    sums.set(at, (sums.get(at) ?? 0) + duration * 0.5e6);
  }
  const points = [...sums].map(([time, value]) => ({ time, value })).sort((a, b) => a.time - b.time);
  return { cadence, points, step };
}

const HOUR = { from: 3_600_000, until: 7_200_000 };
const pods = (count: number, every: number, duration = every) => Array.from({ length: count }, (_, i) => ({ phase: (i * every * 0.37) % every, every, duration, pod: `pod-${i}` }));

test.each([
  ["every 10 s", HOUR, pods(1, 10), 0.5],
  ["every 45 s", HOUR, pods(1, 45), 0.5],
  ["every 12 s", HOUR, pods(1, 12), 0.5],
  ["every 7 s", HOUR, pods(1, 7), 0.5],
  ["every 100 s", HOUR, pods(1, 100), 0.5],
  ["of five processes out of step", HOUR, pods(5, 45), 2.5],
  ["of five processes every 15 s", HOUR, pods(5, 15), 2.5],
  ["of 10 s every minute", HOUR, pods(1, 60, 10), 0.5],
  ["of 10 s every minute of three processes", HOUR, pods(3, 60, 10), 1.5],
  ["of 45 s, over six hours", { from: 3_600_000, until: 25_200_000 }, pods(2, 45), 1],
  ["of 25 s, over a day", { from: 3_600_000, until: 90_000_000 }, pods(2, 25), 1],
])("profiles %s make a level line without teeth and gaps", (_, range, processes, cores) => {
  const { points, step, cadence } = asked(range, processes);
  const { values } = timelineOf(cpu, points, range, step, cadence);
  const shown = values.slice(0, -1);
  expect(shown.filter((value) => value === null || Math.abs(value - cores) > cores * 0.01)).toEqual([]);
});

test("profiles that are weeks apart are seen each at its place", () => {
  const day = 86_400_000;
  const range = { from: 0, until: 120 * day };
  const taken = [20, 60, 117].map((at) => ({ time: at * day, duration: 10_000, labels: {} }));
  const cadence = cadenceOf(taken);
  expect(cadence).toEqual({ duration: 10, interval: 86_400 });
  const points = taken.map(({ time }, i) => ({ time, value: (i + 1) * 1e9 }));
  const { times, values } = timelineOf(cpu, points, range, 3600, cadence);
  const shown = values.flatMap((value, i) => (value === null ? [] : [[Math.round(times[i]! / 86_400), Math.round(value * 100) / 100]]));
  expect(shown.map(([, value]) => value)).toEqual([0.1, 0.2, 0.3]);
  shown.forEach(([at], i) => expect(Math.abs(at! - [20, 60, 117][i]!)).toBeLessThanOrEqual(1));
});

test.each(Array.from({ length: 45 }, (_, now) => now))("processes almost in step make a level line at its ends, %i s after a round began", (now) => {
  const range = { from: 3_600_000 + now * 1000 + 226, until: 7_200_000 + now * 1000 + 226 };
  const processes = [0, 4, 9].map((phase, i) => ({ phase, every: 45, duration: 45, pod: `pod-${i}` }));
  for (const begin of [-1e6, 4_000_000]) {
    const { points, step, cadence } = asked(range, processes, begin);
    const shown = timelineOf(cpu, points, range, step, cadence).values.filter((value) => value !== null);
    expect(shown.length).toBeGreaterThan(40);
    // Where in its step a profile began is not known: at the very ends that is seen.
    expect(shown.filter((value) => Math.abs(value - 1.5) > 0.2)).toEqual([]);
  }
});

test("a single profile is as high as it measured", () => {
  const { points, step, cadence } = asked(HOUR, [{ phase: 5_000, every: 9_000, duration: 10, pod: "one" }]);
  const shown = timelineOf(cpu, points, HOUR, step, cadence).values.filter((value) => value !== null);
  expect(shown.length).toBeLessThan(3);
  for (const value of shown) expect(value).toBeCloseTo(0.5, 2);
});

test("memory in use is a mean, whatever the grid", () => {
  const level = parseProfileType("memory:inuse_space:bytes:space:bytes")!;
  const points = Array.from({ length: 60 }, (_, i) => ({ time: HOUR.from + i * 60_000 + (i % 7) * 1000, value: 1000 }));
  const { values } = timelineOf(level, points, HOUR, 5, { duration: 60, interval: 60 });
  expect(values.every((value) => Math.abs((value ?? 0) - 1000) < 1e-6)).toBe(true);
});

test("steps hold whole intervals, or intervals whole steps", () => {
  const every = (interval: number) => ({ duration: interval, interval });
  expect([stepThatFits(5, every(45)), stepThatFits(5, every(12)), stepThatFits(60, every(45)), stepThatFits(60, every(15)), stepThatFits(900, every(45)), stepThatFits(5, null)]).toEqual([5, 4, 90, 60, 900, 5]);
});

test("lines that stand on each other add up where one takes over", () => {
  const range = { from: 0, until: 3_600_000 };
  const [old, now] = [steady(600, 1845, 15, 5), steady(1845, 3015, 15, 5)];
  const grid = gridOf([...old, ...now], range, 5);
  const [a, b] = [timelineOn(grid, cpu, old, range), timelineOn(grid, cpu, now, range)];
  const tops = stacked([a, b])[1]!;
  for (const top of tops.filter((each) => each !== null)) expect(top).toBeCloseTo(0.5, 5);
  expect(tops.filter((top) => top !== null).length).toBeGreaterThan(30);
});

test("a gap in all lines is a gap in the stack, a gap in one is nothing", () => {
  const line = (values: (number | null)[]) => ({ stepSeconds: 1, times: [0, 1, 2], values });
  expect(stacked([line([1, null, null]), line([2, 3, null])])).toEqual([[1, 0, null], [3, 3, null]]);
});

describe("versions", () => {
  const at = (value: string, ...times: number[]) => ({ value, points: times.map((time) => ({ time, value: 1 })) });
  test.each([
    ["one that took over is marked", [at("1", 0, 100_000), at("2", 200_000)], ["2"]],
    ["those from the start are not", [at("1", 0), at("2", 5_000)], []],
    ["a late start of all is no change", [at("1", 500_000)], []],
    ["no name is no version", [at("1", 0), at("", 300_000)], []],
  ])("%s", (_, groups, expected) => {
    expect(firstSeen(groups, { from: 0, until: 1_000_000 }, 5).map(({ value }) => value)).toEqual(expected);
  });
});

test("many groups become the heaviest and the rest", () => {
  const groups = [1, 5, 3, 4].map((value, i) => ({ value: `v${i}`, points: [{ time: 10, value }] }));
  expect(heaviestGroups(groups, 3, "rest").map(({ value, points }) => [value, points[0]!.value])).toEqual([["v1", 5], ["v3", 4], ["rest", 4]]);
  expect(heaviestGroups(groups, 4, "rest")).toHaveLength(4);
});

test.each([
  [1, 10, [0, 11]],
  [-10, -1, [-11, 0]],
  [-10, 10, [-11, 11]],
  [0, 0, [0, 1]],
  [null, null, [0, 1]],
])("an axis of %d to %d", (low, high, expected) => expect(fromZero(low, high).map((end) => Math.round(end * 1000) / 1000 + 0)).toEqual(expected));
