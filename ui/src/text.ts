// The texts of the pages in the reader's language. Each language is one file in texts/ that says
// everything that texts/en.ts says; the compiler checks that nothing is missing.

import { en, type Texts } from "./texts/en";

export const LANGUAGES = { en: "English", ja: "日本語" } as const;
export type Language = keyof typeof LANGUAGES;

export let text: Texts = en;
export let language: Language = "en";

/** Called once, before anything is shown. */
export async function speak(wanted: Language): Promise<void> {
  if (wanted === "ja") text = (await import("./texts/ja")).ja;
  language = wanted;
}
