import { expect, test } from "vitest";
import { library, splitSymbol } from "./symbol";

test.each([
  ["runtime.mallocgc", "runtime", "mallocgc"],
  ["net/http.(*conn).serve", "net/http", "(*conn).serve"],
  ["github.com/acme/shop/cart.(*Cart).Total.func1", "github.com/acme/shop/cart", "(*Cart).Total.func1"],
  ["slices.SortFunc[go.shape.[]int,go.shape.int]", "slices", "SortFunc[go.shape.[]int,go.shape.int]"],
  ["java/util/HashMap.put", "java/util", "HashMap.put"],
  ["org.acme.web.Server$Inner.handle", "org.acme.web", "Server$Inner.handle"],
  ["lib/user.py find", "lib/user.py", "find"],
  ["lib/utility/utility.py:-1 - find_nearest_vehicle", "lib/utility/utility.py", "find_nearest_vehicle"],
  ["/app/models/user.rb find by", "/app/models/user.rb", "find by"],
  ["./dist/server.js:handle:12", "./dist/server.js", "handle:12"],
  ["handle (/app/server.js:12:3)", "/app/server.js", "handle"],
  ["LazyCompile:*fib /usr/src/app/main.js:1", "/usr/src/app/main.js", "fib"],
  ["node:internal/fs:readFile:3", "node:internal/fs", "readFile"],
  ["tokio::runtime::task::raw::poll", "tokio::runtime::task::raw", "poll"],
  ["alloc::vec::Vec<T>::push", "alloc::vec", "Vec<T>::push"],
  ["shop::cart::total::{{closure}}", "shop::cart", "total::{{closure}}"],
  ["std::vector<int, std::allocator<int>>::push_back(int const&)", "std::vector<int, std::allocator<int>>", "push_back(int const&)"],
  ["<alloc::vec::Vec<T> as core::clone::Clone>::clone", "alloc::vec", "Vec<T>::clone"],
  ["<F as core::future::future::Future>::poll", "", "F::poll"],
  ["do_syscall_64_[k]", "kernel", "do_syscall_64"],
  ["Microsoft.AspNetCore.Routing!EndpointMiddleware.<Invoke>d__6.MoveNext", "Microsoft.AspNetCore.Routing", "EndpointMiddleware.<Invoke>d__6.MoveNext"],
  ["./tmp/snappy-1.1.8-libsnappyjava.so", "./tmp", "snappy-1.1.8-libsnappyjava.so"],
  ["/usr/lib/libc.so.6", "/usr/lib", "libc.so.6"],
  ["/app/src/server.go", "/app/src", "server.go"],
  ["kernel/sched/core.cc", "kernel/sched", "core.cc"],
  ["/usr/src/main.c", "/usr/src", "main.c"],
  ["example.com/pkg.c", "example.com/pkg", "c"],
  ["main", "", "main"],
  ["<script>alert(1)</script>", "", "<script>alert(1)</script>"],
  ["", "", ""],
  ["0x7f3a", "", "0x7f3a"],
])("%s comes from %s", (name, origin, short) => {
  expect(splitSymbol(name)).toEqual({ origin, short });
});

test.each([
  ["github.com/acme/shop/cart", "github.com/acme/shop"],
  ["net/http", "net"],
  ["org.acme.web", "org.acme"],
  ["tokio::runtime::task", "tokio"],
  ["", ""],
])("%s belongs to the library %s", (origin, expected) => {
  expect(library(origin)).toBe(expected);
});

test("a split never loses the function, whatever the name", () => {
  for (const name of [":", "::", "a::", "/", "a/", ".", "a.", "a/b.", "(", "<<<<", ">::<", "_[k]", "x".repeat(900), "a\u0000b", " .py "]) {
    const { short } = splitSymbol(name);
    expect(short).not.toBe("");
    expect(name).toContain(short);
  }
});
