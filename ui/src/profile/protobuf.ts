// The little of protobuf that the pages need: reading answers and pprof files without a JSON of tens
// of megabytes, and writing a request. Numbers beyond 2^53 lose their last digits.

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;
const TWO_64 = 2 ** 64;

/** A message that ends in the middle of a field. */
export class TornMessage extends Error {
  constructor(at: number) {
    super(`the message ends in the middle of a field, at byte ${at}; was the file cut off?`);
  }
}

export class Reader {
  private readonly bytes: Uint8Array;
  private at: number;
  private readonly end: number;
  /** Number and wire type of the field that `next` came to. */
  field = 0;
  private wire = 0;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Steps to the next field; its value must be read or skipped. */
  next(): boolean {
    if (this.at >= this.end) return false;
    const key = this.varint();
    this.field = Math.floor(key / 8);
    this.wire = key % 8;
    return true;
  }

  private varint(): number {
    const { bytes } = this;
    let value = 0;
    let factor = 1;
    for (let length = 0; length < 10; length++) {
      if (this.at >= this.end) throw new TornMessage(this.at);
      const byte = bytes[this.at++]!;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
    throw new TornMessage(this.at);
  }

  private signed(): number {
    const start = this.at;
    const value = this.varint();
    // Ten bytes, the last of them 1, have the sign bit; the largest positive numbers have nine.
    return this.at - start === 10 ? this.negative() : value;
  }

  /** A negative number has ten bytes; as a double it would lose its low digits, so they are read again. */
  private negative(): number {
    let rest = 0;
    let factor = 1;
    for (let i = this.at - 10; i < this.at - 1; i++) {
      rest += (127 - (this.bytes[i]! & 127)) * factor;
      factor *= 128;
    }
    return -(rest + 1);
  }

  unsigned(): number {
    this.expect(VARINT);
    return this.varint() % TWO_64;
  }

  int(): number {
    this.expect(VARINT);
    return this.signed();
  }

  /** All 64 bits: addresses of kernels have them. */
  exact(): bigint {
    this.expect(VARINT);
    const start = this.at;
    this.varint();
    let value = 0n;
    for (let i = this.at - 1; i >= start; i--) value = (value << 7n) | BigInt(this.bytes[i]! & 127);
    return BigInt.asUintN(64, value);
  }

  /** The numbers of a repeated field, packed or one at a time. */
  intsInto(out: number[]): void {
    if (this.wire === VARINT) {
      out.push(this.signed());
      return;
    }
    const inner = this.message();
    while (inner.at < inner.end) out.push(inner.signed());
  }

  message(): Reader {
    this.expect(LENGTH);
    const length = this.varint();
    const start = this.at;
    if (start + length > this.end) throw new TornMessage(start);
    this.at = start + length;
    return new Reader(this.bytes, start, this.at);
  }

  content(): Uint8Array {
    const { at, end } = this.message();
    return this.bytes.subarray(at, end);
  }

  text(): string {
    return DECODER.decode(this.content());
  }

  skip(): void {
    if (this.wire === VARINT) this.varint();
    else if (this.wire === LENGTH) this.message();
    else if (this.wire === FIXED64 || this.wire === FIXED32) {
      this.at += this.wire === FIXED64 ? 8 : 4;
      if (this.at > this.end) throw new TornMessage(this.end);
    } else throw new Error(`field ${this.field} has the wire type ${this.wire}, which protobuf no longer has; is this a protobuf file?`);
  }

  private expect(wire: number): void {
    if (this.wire !== wire) throw new Error(`field ${this.field} has the wire type ${this.wire} instead of ${wire}; is this a protobuf file of that kind?`);
  }
}

const DECODER = new TextDecoder();
const ENCODER = new TextEncoder();

export class Writer {
  private readonly out: number[] = [];

  private varint(value: number): void {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.out.push((rest % 128) + 128);
    this.out.push(rest);
  }

  /** Not for negative numbers. */
  int(field: number, value: number): this {
    this.varint(field * 8 + VARINT);
    this.varint(value);
    return this;
  }

  text(field: number, value: string): this {
    return this.message(field, ENCODER.encode(value));
  }

  message(field: number, content: Uint8Array): this {
    this.varint(field * 8 + LENGTH);
    this.varint(content.length);
    for (const byte of content) this.out.push(byte);
    return this;
  }

  ints(field: number, values: readonly number[]): this {
    const inner = new Writer();
    for (const value of values) inner.varint(value);
    return this.message(field, inner.bytes());
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.out);
  }
}
