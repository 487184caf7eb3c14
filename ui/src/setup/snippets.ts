// How to send profiles to the very server that shows the page, word for word.

export const SENDERS = ["curl", "Go", "Python", "Ruby", "Java", "Node.js", ".NET", "Rust", "pprof file", "Alloy", "Grafana"] as const;
export type Sender = (typeof SENDERS)[number];

export function snippet(sender: Sender, server: string): string {
  switch (sender) {
    case "curl":
      return `printf 'main;handle;parse 80\\nmain;handle;render 40\\nmain;idle 10\\n' |
  curl --data-binary @- '${server}/ingest?name=my-first-service.cpu&format=folded'`;
    case "Go":
      return `// go get github.com/grafana/pyroscope-go
profiler, err := pyroscope.Start(pyroscope.Config{
	ApplicationName: "my-service",
	ServerAddress:   "${server}",
	Tags:            map[string]string{"version": "1.0.0"},
})
if err != nil {
	log.Fatal(err)
}
defer profiler.Stop()`;
    case "Python":
      return `# pip install pyroscope-io
import pyroscope

pyroscope.configure(
    application_name="my-service",
    server_address="${server}",
    tags={"version": "1.0.0"},
)`;
    case "Ruby":
      return `# gem install pyroscope
require "pyroscope"

Pyroscope.configure do |config|
  config.application_name = "my-service"
  config.server_address = "${server}"
  config.tags = { "version" => "1.0.0" }
end`;
    case "Java":
      return `# with pyroscope.jar beside your program
PYROSCOPE_APPLICATION_NAME=my-service \\
PYROSCOPE_SERVER_ADDRESS=${server} \\
PYROSCOPE_LABELS=version=1.0.0 \\
java -javaagent:pyroscope.jar -jar app.jar`;
    case "Node.js":
      return `// npm install @pyroscope/nodejs
const Pyroscope = require("@pyroscope/nodejs");
Pyroscope.init({
  appName: "my-service",
  serverAddress: "${server}",
  tags: { version: "1.0.0" },
});
Pyroscope.start();`;
    case ".NET":
      return `# with the Pyroscope profiler for .NET beside your program
PYROSCOPE_APPLICATION_NAME=my-service \\
PYROSCOPE_SERVER_ADDRESS=${server} \\
PYROSCOPE_LABELS=version:1.0.0 \\
CORECLR_ENABLE_PROFILING=1 \\
CORECLR_PROFILER={BD1A650D-AC5D-4896-B64F-D6FA25D6B26A} \\
CORECLR_PROFILER_PATH=$PWD/Pyroscope.Profiler.Native.so \\
LD_PRELOAD=$PWD/Pyroscope.Linux.ApiWrapper.x64.so \\
dotnet app.dll`;
    case "Rust":
      return `// cargo add pyroscope pyroscope_pprofrs
let agent = PyroscopeAgent::builder("${server}", "my-service")
    .backend(pprof_backend(PprofConfig::new().sample_rate(100)))
    .tags(vec![("version", "1.0.0")])
    .build()?
    .start()?;`;
    case "pprof file":
      return `curl -o cpu.pb.gz 'http://localhost:6060/debug/pprof/profile?seconds=10'
curl --data-binary @cpu.pb.gz '${server}/ingest?name=my-service&format=pprof'`;
    case "Alloy":
      return `pyroscope.scrape "services" {
  targets    = [{"__address__" = "localhost:6060", "service_name" = "my-service"}]
  forward_to = [pyroscope.write.everflame.receiver]
}

pyroscope.write "everflame" {
  endpoint {
    url = "${server}"
  }
}`;
    case "Grafana":
      return `apiVersion: 1
datasources:
  - name: Everflame
    type: grafana-pyroscope-datasource
    url: ${server}`;
  }
}
