// The reader's language: what was chosen here before, or the first that the browser asks for.

import { LANGUAGES, type Language, speak } from "../text";

const KEY = "everflame.language";

function known(code: string | null | undefined): Language | null {
  return code && code in LANGUAGES ? (code as Language) : null;
}

function stored(): Language | null {
  try {
    return known(localStorage.getItem(KEY));
  } catch {
    return null; // Storage may be forbidden.
  }
}

export async function speakReadersLanguage(): Promise<void> {
  const asked = navigator.languages.map((tag) => known(tag.slice(0, 2))).find((code) => code !== null);
  const wanted = stored() ?? asked ?? "en";
  await speak(wanted);
  document.documentElement.lang = wanted;
}

/** Every text of the page changes, so the page is opened anew; its state is in its URL. */
export function chooseLanguage(next: Language): void {
  try {
    localStorage.setItem(KEY, next);
  } catch {
    return;
  }
  location.reload();
}
