// Profiles as large as people have them, made up and the same on every run, in folded stacks.

/** Numbers that look random and are the same every time. */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * A tree of exactly `nodes` nodes besides the root, at most 60 deep, each with some weight of its own, as
 * lines of folded stacks.
 */
export function largeTree(nodes, seed) {
  const next = random(seed);
  const paths = [];
  const depths = [];
  const children = new Map();
  const lines = [];
  while (paths.length < nodes) {
    // Mostly below one of the newest nodes, so that the graph is deep, sometimes anywhere.
    const below = paths.length === 0 || next() < 0.02 ? -1 : Math.floor(paths.length - 1 - next() ** 3 * Math.min(paths.length - 1, 5000));
    const parent = below >= 0 && depths[below] < 60 ? below : -1;
    const used = children.get(parent) ?? 0;
    children.set(parent, used + 1);
    const name = `example.com/mod${(paths.length * 7) % 40}/pkg${used % 90}.(*Type${(paths.length * 13) % 700}).method${used}`;
    paths.push(parent < 0 ? name : `${paths[parent]};${name}`);
    depths.push(parent < 0 ? 1 : depths[parent] + 1);
    lines.push(`${paths[paths.length - 1]} ${1 + Math.floor(next() ** 6 * 5000)}`);
  }
  return lines;
}

/** So many samples over few functions: many lines repeat the same stack. */
export function manySamples(samples, seed) {
  const next = random(seed);
  const stacks = largeTree(20_000, seed).map((line) => line.slice(0, line.lastIndexOf(" ")));
  return Array.from({ length: samples }, () => `${stacks[Math.floor(next() ** 2 * stacks.length)]} 1`);
}
