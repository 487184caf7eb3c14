// Writes src/api/openapi.ts: the types of Everflame's own API, from the document that the server answers
// under /api/v1/openapi.json. A unit test compares the two.
//
//   npm run api-types

import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";

const DOCUMENT = fileURLToPath(new URL("../../crates/api/src/openapi.json", import.meta.url));
const TYPES = fileURLToPath(new URL("../src/api/openapi.ts", import.meta.url));

const HEAD = "// Made from crates/api/src/openapi.json by `npm run api-types`; a test compares the two.\n";

/** What the file says, and what it should. */
export async function texts() {
  const document = JSON.parse(await readFile(DOCUMENT, "utf8"));
  return { written: await readFile(TYPES, "utf8"), expected: typesOf(document) };
}

function typesOf(document) {
  const schemas = Object.entries(document.components.schemas).map(([name, schema]) => declaration(name, schema));
  const answers = (method) =>
    Object.entries(document.paths)
      .map(([path, { [method]: operation }]) => [path, operation?.responses["200"].content["application/json"]?.schema, operation])
      .filter(([, schema]) => schema)
      .map(([path, schema, { summary }]) => `${comment(summary, 1)}  ${JSON.stringify(path)}: ${typeOf(schema, 1)};\n`)
      .join("");
  return [
    HEAD,
    ...schemas,
    `/** What a GET of each path answers in JSON. */\nexport interface Answers {\n${answers("get")}}\n`,
    `/** What a POST answers. */\nexport interface Posted {\n${answers("post")}}\n`,
  ].join("\n");
}

function declaration(name, schema) {
  const type = typeOf(schema, 0);
  const isObject = schema.type === "object" && schema.properties;
  return `${comment(schema.description, 0)}export ${isObject ? `interface ${name} ${type}` : `type ${name} = ${type};`}\n`;
}

function typeOf(schema, depth) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const several = schema.oneOf ?? schema.anyOf;
  if (several) return several.map((each) => typeOf(each, depth)).join(" | ");
  if (Array.isArray(schema.type)) return schema.type.map((type) => typeOf({ ...schema, type }, depth)).join(" | ");
  switch (schema.type) {
    case "object":
      return schema.properties ? members(schema, depth) : `Record<string, ${typeOf(schema.additionalProperties ?? {}, depth)}>`;
    case "array": {
      const item = typeOf(schema.items ?? {}, depth);
      if (schema.minItems > 0 && schema.minItems === schema.maxItems) return `[${Array(schema.minItems).fill(item).join(", ")}]`;
      return item.includes(" | ") && !item.startsWith("{") ? `(${item})[]` : `${item}[]`;
    }
    case "integer":
    case "number":
      return "number";
    case "string":
    case "boolean":
    case "null":
      return schema.type;
    default:
      return "unknown";
  }
}

function members({ properties, required = [] }, depth) {
  const pad = "  ".repeat(depth + 1);
  const lines = Object.entries(properties).map(
    ([name, schema]) => `${comment(schema.description, depth + 1)}${pad}${/^\w+$/.test(name) ? name : JSON.stringify(name)}${required.includes(name) ? "" : "?"}: ${typeOf(schema, depth + 1)};\n`,
  );
  return `{\n${lines.join("")}${"  ".repeat(depth)}}`;
}

function comment(description, depth) {
  return description ? `${"  ".repeat(depth)}/** ${description.replaceAll("*/", "* /")} */\n` : "";
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await writeFile(TYPES, (await texts()).expected);
}
