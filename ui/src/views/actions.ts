// What can be done with a function, wherever it is shown.

import type { MenuItem } from "../flamegraph/Menu";
import { type Flame, nameOf, pathTo, ROOT } from "../profile/flame";
import { encodePath, hashName } from "../profile/path";
import { text } from "../text";
import type { ViewState } from "../url/state";
import { copyText } from "./copy";

export type Go = (change: Partial<ViewState>) => void;

export interface Links {
  /** Opens the history of a function, where the page knows a service. */
  history?: (name: string) => void;
  /** Asks again for what the server folded below a node. */
  openFolded?: (names: string[]) => void;
  /** The source code of the service can be shown. */
  hasCode?: boolean;
}

export function nodeActions(flame: Flame, node: number, state: ViewState, go: Go, links: Links): MenuItem[] {
  if (node === ROOT) return [{ label: text.actions.reset, run: () => go({ zoom: "" }) }];
  const path = pathTo(flame, node).slice(1).map((each) => nameOf(flame, each));
  if (flame.folded[node]) {
    const open = links.openFolded;
    return open ? [{ label: text.actions.openFolded, run: () => open(path.slice(0, -1)) }] : [];
  }
  return [
    { label: text.actions.zoom, run: () => go({ zoom: encodePath(flame, node) }) },
    ...nameActions(nameOf(flame, node), state, go, links),
    { label: text.actions.copyStack, run: () => copyText(path.join("\n")) },
  ];
}

export function nameActions(name: string, state: ViewState, go: Go, links: Links): MenuItem[] {
  const hash = hashName(name);
  const { history } = links;
  return [
    { label: text.actions.sandwich, run: () => go({ view: "sandwich", fn: hash }) },
    { label: text.actions.focus, run: () => go({ focus: hash, zoom: "", fn: hash }) },
    { label: text.actions.hide, run: () => go({ hide: [...state.hide, hash], zoom: "" }) },
    { label: text.actions.merge, run: () => go({ merge: [...state.merge, hash], zoom: "" }) },
    ...(links.hasCode ? [{ label: text.actions.source, run: () => go({ view: "source", fn: hash }) }] : []),
    ...(history ? [{ label: text.actions.history, run: () => history(name) }] : []),
    { label: text.actions.find, run: () => go({ search: `^${escapeRegex(name)}$` }) },
    { label: text.actions.copyName, run: () => copyText(name) },
  ];
}

export function escapeRegex(name: string): string {
  return name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}
