import { useState } from "react";
import { text } from "../text";
import "./setup.css";

const TABS = ["curl", "Go", "Python", "Rust", "Node.js", "Java"] as const;
type Tab = (typeof TABS)[number];

/** How to send a first profile to the very server that shows this page. */
function snippet(tab: Tab, server: string): string {
  switch (tab) {
    case "curl":
      return `printf 'main;handle;parse 80\\nmain;handle;render 40\\nmain;idle 10\\n' |\n  curl --data-binary @- '${server}/ingest?name=my-first-service.cpu&format=folded'`;
    case "Go":
      return `// go get github.com/grafana/pyroscope-go\npyroscope.Start(pyroscope.Config{\n\tApplicationName: "my-service",\n\tServerAddress:   "${server}",\n})`;
    case "Python":
      return `# pip install pyroscope-io\nimport pyroscope\n\npyroscope.configure(\n    application_name="my-service",\n    server_address="${server}",\n)`;
    case "Rust":
      return `// cargo add pyroscope pyroscope_pprofrs\nlet agent = PyroscopeAgent::builder("${server}", "my-service")\n    .backend(pprof_backend(PprofConfig::new().sample_rate(100)))\n    .build()?\n    .start()?;`;
    case "Node.js":
      return `// npm install @pyroscope/nodejs\nconst Pyroscope = require("@pyroscope/nodejs");\nPyroscope.init({ appName: "my-service", serverAddress: "${server}" });\nPyroscope.start();`;
    case "Java":
      return `# with pyroscope.jar beside your program\nPYROSCOPE_APPLICATION_NAME=my-service \\\nPYROSCOPE_SERVER_ADDRESS=${server} \\\njava -javaagent:pyroscope.jar -jar app.jar`;
  }
}

export function FirstProfile() {
  const [tab, setTab] = useState<Tab>("curl");
  const [copied, setCopied] = useState(false);
  const code = snippet(tab, location.origin);
  return (
    <div className="first">
      <h2>{text.services.emptyTitle}</h2>
      <p className="soft">{text.services.emptyHint}</p>
      <div className="group first-tabs" role="group">
        {TABS.map((name) => (
          <button
            key={name}
            type="button"
            className="button"
            aria-pressed={tab === name}
            onClick={() => {
              setTab(name);
              setCopied(false);
            }}
          >
            {name}
          </button>
        ))}
      </div>
      <div className="first-code">
        <pre tabIndex={0}>{code}</pre>
        <button
          type="button"
          className="button"
          onClick={() => {
            void navigator.clipboard?.writeText(code).then(() => setCopied(true));
          }}
        >
          {copied ? text.services.copied : text.services.copy}
        </button>
      </div>
      <p className="first-waiting" role="status">
        <span className="first-dot" aria-hidden="true" />
        {text.services.waiting}
      </p>
    </div>
  );
}
