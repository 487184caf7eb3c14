import { expect, test } from "vitest";
import { readFlameAnswer } from "../api/flame-answer";
import { nameOf } from "./flame";
import { Reader, TornMessage, Writer } from "./protobuf";

test.each([
  [[0x08, 0x00], 0],
  [[0x08, 0x96, 0x01], 150],
  [[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], -1],
  [[0x08, 0xd4, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], -172],
  [[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 2 ** 63],
  [[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10], 2 ** 53],
])("the number in %j is %d", (bytes, expected) => {
  const reader = new Reader(Uint8Array.from(bytes));
  expect(reader.next()).toBe(true);
  expect(reader.int()).toBe(expected);
});

test("all 64 bits of an address are read", () => {
  const bytes = [0x08, 0xa3, 0x82, 0x84, 0x88, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x01];
  const reader = new Reader(Uint8Array.from(bytes));
  expect(reader.next()).toBe(true);
  expect(reader.exact()).toBe(0xffffffff81010123n);
  expect(reader.next()).toBe(false);
});

test("what is written is read", () => {
  const bytes = new Writer().text(1, "größe").int(3, 1_700_000_000_123).ints(20, [1, 300, 0]).bytes();
  const reader = new Reader(bytes);
  const found: unknown[] = [];
  while (reader.next()) {
    if (reader.field === 1) found.push(reader.text());
    else if (reader.field === 3) found.push(reader.int());
    else {
      const out: number[] = [];
      reader.intsInto(out);
      found.push(out);
    }
  }
  expect(found).toEqual(["größe", 1_700_000_000_123, [1, 300, 0]]);
});

test.each([[[0x08]], [[0x0a, 0x05, 0x61]], [[0x08, 0x80]], [[0x09, 0x00]], [new Array(12).fill(0xff)]])("%j is refused, not read past its end", (bytes) => {
  const read = () => {
    const reader = new Reader(Uint8Array.from(bytes));
    while (reader.next()) reader.skip();
  };
  expect(read).toThrow(TornMessage);
});

test("an answer becomes a flame graph", () => {
  const level = (values: number[]) => new Writer().ints(1, values).bytes();
  const graph = new Writer().text(1, "total").text(1, "a").message(2, level([0, 5, 0, 0])).message(2, level([0, 5, 5, 1])).int(3, 5).bytes();
  const flame = readFlameAnswer(new Writer().message(1, graph).bytes(), 100);
  expect([nameOf(flame, 1), flame.total[1]]).toEqual(["a", 5]);
  expect(readFlameAnswer(new Uint8Array(), 100).total[0]).toBe(0);
});
