// A git repository with one commit, for pages that show source code.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** `files` are texts by path. */
export async function makeRepository(files, tag) {
  const path = await mkdtemp(join(tmpdir(), "everflame-repository-"));
  const git = (...args) =>
    run("git", ["-C", path, "-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false", ...args], { env: { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null" } });
  await git("init", "-q", "-b", "main");
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(path, name)), { recursive: true });
    await writeFile(join(path, name), text);
  }
  await git("add", "-A");
  await git("commit", "-q", "-m", tag);
  await git("tag", tag);
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
