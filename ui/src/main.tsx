import { createRoot } from "react-dom/client";
import { App } from "./app";
import { speakReadersLanguage } from "./shell/language";
import "./style/tokens.css";
import "./style/base.css";
import { applyTheme } from "./style/theme";
import { amend } from "./url/navigation";
import { translated } from "./url/state";

applyTheme();
const leads = translated(location.pathname, location.search);
if (leads !== null) amend(leads);
await speakReadersLanguage();
createRoot(document.getElementById("root")!).render(<App />);
