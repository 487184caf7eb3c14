// Writes small pprof files, for profiles that say files and lines.
// https://github.com/google/pprof/blob/main/proto/profile.proto

const varint = (value) => {
  const bytes = [];
  let rest = BigInt(value);
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return bytes;
};
const number = (field, value) => [...varint(field << 3), ...varint(value)];
const bytes = (field, content) => [...varint((field << 3) | 2), ...varint(content.length), ...content];
const packed = (field, values) => bytes(field, values.flatMap(varint));

/**
 * CPU time in nanoseconds. `samples` are `{ stack: [{ name, file, line }, …], value }`, root first; a frame without
 * a name is `{ address, module: { file, start, limit, offset } }`. `time` and `duration` are seconds.
 */
export function cpuPprof(samples, time, duration) {
  const strings = new Map([["", 0]]);
  const text = (string) => strings.get(string) ?? (strings.set(string, strings.size), strings.size - 1);
  const functions = new Map();
  const locations = new Map();
  const parts = [];
  const mappings = new Map();
  const mapping = ({ file, start, limit, offset }) => {
    if (!mappings.has(file)) {
      mappings.set(file, mappings.size + 1);
      const place = [...number(2, start), ...number(3, limit), ...number(4, offset), ...number(5, text(file))];
      parts.push(bytes(3, [...number(1, mappings.size), ...place]));
    }
    return mappings.get(file);
  };
  const unnamed = ({ address, module }) => {
    const at = `${module.file} ${address}`;
    if (!locations.has(at)) {
      locations.set(at, locations.size + 1);
      parts.push(bytes(4, [...number(1, locations.size), ...number(2, mapping(module)), ...number(3, address)]));
    }
    return locations.get(at);
  };
  const location = (frame) => {
    if (frame.name === undefined) return unnamed(frame);
    const { name, file = "", line = 0 } = frame;
    const fn = `${name}\n${file}`;
    if (!functions.has(fn)) {
      functions.set(fn, functions.size + 1);
      parts.push(bytes(5, [...number(1, functions.size), ...number(2, text(name)), ...number(4, text(file))]));
    }
    const at = `${fn}\n${line}`;
    if (!locations.has(at)) {
      locations.set(at, locations.size + 1);
      parts.push(bytes(4, [...number(1, locations.size), ...bytes(4, [...number(1, functions.get(fn)), ...number(2, line)])]));
    }
    return locations.get(at);
  };
  const type = [...number(1, text("cpu")), ...number(2, text("nanoseconds"))];
  parts.push(bytes(1, type), bytes(11, type), number(12, 10_000_000), number(9, BigInt(time) * 1_000_000_000n), number(10, BigInt(duration) * 1_000_000_000n));
  for (const { stack, value } of samples) parts.push(bytes(2, [...packed(1, stack.map(location).reverse()), ...packed(2, [value])]));
  for (const string of strings.keys()) parts.push(bytes(6, [...Buffer.from(string)]));
  return Buffer.from(parts.flat());
}
