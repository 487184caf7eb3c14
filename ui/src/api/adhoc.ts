// Files that the server reads because the pages do not: it keeps the latest of them, so that a link can show
// them again, and adds nothing to any service.

import type { AdHoc, AdHocType } from "../profile/adhoc";
import { readFlamebearerText } from "../profile/adhoc";
import { postConnect } from "./client";

const SERVICE = "/adhocprofiles.v1.AdHocProfileService/";
const MAX_NODES = 262_144;
/** Each is asked for on its own. */
const MOST_TYPES = 16;
/** What is looked at first, where a file measures several things. */
const USUAL = ["cpu", "inuse_space", "wall"];
const CHUNK = 0x8000;

interface Answer {
  id?: string;
  name?: string;
  profileType?: string;
  profileTypes?: string[];
  flamebearerProfile?: string;
}

export async function readOnServer(fileName: string, bytes: Uint8Array<ArrayBuffer>): Promise<AdHoc> {
  return whole(await postConnect<Answer>(`${SERVICE}Upload`, { name: fileName, profile: base64(bytes), maxNodes: MAX_NODES }), bytes);
}

/** One that was looked at before, by whomever. */
export async function openOnServer(id: string): Promise<AdHoc> {
  return whole(await postConnect<Answer>(`${SERVICE}Get`, { id, maxNodes: MAX_NODES }), new Uint8Array());
}

async function whole(first: Answer, bytes: Uint8Array<ArrayBuffer>): Promise<AdHoc> {
  const id = first.id ?? "";
  const names = (first.profileTypes ?? []).slice(0, MOST_TYPES);
  const types = await Promise.all(
    names.map(async (name): Promise<AdHocType> => {
      const answer = name === first.profileType ? first : await postConnect<Answer>(`${SERVICE}Get`, { id, profileType: name, maxNodes: MAX_NODES });
      return { ...readFlamebearerText(answer.flamebearerProfile ?? ""), name };
    }),
  );
  return { fileName: first.name ?? id, format: "server", id, bytes, types, usual: Math.max(0, USUAL.map((name) => names.indexOf(name)).find((at) => at >= 0) ?? 0), durationMs: 0 };
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(text);
}
