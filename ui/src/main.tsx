import { createRoot } from "react-dom/client";
import { App } from "./app";
import { speakReadersLanguage } from "./shell/language";
import "./style/tokens.css";
import "./style/base.css";
import { applyTheme } from "./style/theme";

applyTheme();
await speakReadersLanguage();
createRoot(document.getElementById("root")!).render(<App />);
