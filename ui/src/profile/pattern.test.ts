import { describe, expect, test } from "vitest";
import { linearTest } from "./pattern";
import { compile } from "./search";

const TEXTS = [
  "",
  "a",
  "b",
  "aaa",
  "abab",
  "aXb",
  "net/http.(*conn).serve",
  "github.com/acme/shop/internal/cart.(*Cart).Total.func1",
  "std::vector<int, std::allocator<int>>::push_back",
  "java.util.HashMap$Node.<init>",
  "支払い処理.合計を計算する関数",
  "😀 smile{2}",
  "line\nbreak",
  "a-b_c d",
];

describe.each([
  "a*",
  "^a+$",
  "(ab)+$",
  "a|b*|c",
  "(a|b)?X",
  "^(?:a|ab)*b$",
  "a{2}",
  "a{2,}",
  "^a{0,2}$",
  "(?:ab){1,2}$",
  "a+?b",
  ".*http.*serve",
  "\\bconn\\b.*",
  "\\Bonn+",
  "(\\w+::)*\\w+<.*>::push",
  "^([^/]*/)*cart",
  "(?<name>Cart)\\)+",
  "[)\\]*+]+",
  "\\*+",
  "\\p{Script=Han}+",
  "\\u{1F600}?.smile",
  "^.\\s",
  "^.$|e.b*",
  "\\x61+",
  "smile\\{2\\}?",
  "<init>?",
  "HASHMAP.*node",
  "(^a|b$)+",
  "(a*)*b",
  "(|a)+b",
  "()*",
  "x*",
  "(?:(?:a?){3}){2}b",
])("%s", (pattern) => {
  test.each(["u", "iu"])("finds what the browser's finds (%s)", (flags) => {
    const own = new RegExp(pattern, flags);
    const found = linearTest(pattern, flags);
    for (const text of TEXTS) expect(`${text}: ${found(text)}`).toBe(`${text}: ${own.test(text)}`);
  });
});

test.each(["(a+)+$", "(.*)*(.*)*(.*)*x{50}", "(a|a)*c", "(.*a){20}b", "^(.+)+bar$", ".*.*.*.*.*.*y", "(a?){50}a{50}b"])("%s ends on names that it does not fit", (pattern) => {
  const { test: found, problem } = compile(pattern);
  const begin = performance.now();
  expect([found(`${"a".repeat(5000)}!`), problem]).toEqual([false, undefined]);
  expect(performance.now() - begin).toBeLessThan(5000);
});

test.each(["(?=a)b*", "(?<!a)b+", "(a)\\1+", "(?<x>a)\\k<x>+", "(a{1000}){1000}", "a{99999999}"])("%s is taken letter by letter", (pattern) => {
  const { test: found, problem } = compile(pattern);
  expect(problem).toBeTruthy();
  expect([found(`x ${pattern} y`), found("aab")]).toEqual([true, false]);
});

test("a pattern that is none says so", () => expect(compile("reg(exp").problem).toBeTruthy());
