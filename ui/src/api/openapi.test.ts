import { expect, test } from "vitest";
// @ts-expect-error: a script without types
import { texts } from "../../dev/api-types.mjs";

test("the types are those of the document; `npm run api-types` makes them anew", async () => {
  const { written, expected } = await texts();
  expect(written).toBe(expected);
});
