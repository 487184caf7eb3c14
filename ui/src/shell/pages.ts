/** The pages that the header and the palette lead to. */
export const PAGES = [
  { name: "services", href: "/" },
  { name: "explore", href: "/explore" },
  { name: "compare", href: "/compare" },
  { name: "labels", href: "/labels" },
  { name: "heatmap", href: "/heatmap" },
  { name: "adhoc", href: "/adhoc" },
  { name: "sql", href: "/sql" },
  { name: "status", href: "/status" },
  { name: "setup", href: "/setup" },
] as const;
