//! Seeds of the formats that are text.

pub(crate) const EVENTED: &[u8] = br#"{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{"frames":[{"name":"a"},{"name":"b","file":"f","line":1}]},
"profiles":[{"type":"evented","name":"x","unit":"milliseconds","startValue":0,"endValue":9,"events":[{"type":"O","at":0,"frame":0},{"type":"O","at":1.5,"frame":1},{"type":"C","at":2,"frame":1},{"type":"C","at":9,"frame":0}]},
{"type":"sampled","name":"y","unit":"bytes","startValue":0,"endValue":3,"samples":[[0,1],[0]],"weights":[1,2]}]}"#;

pub(crate) const OTLP: &[u8] = br#"{"resourceProfiles":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"n","value":{"arrayValue":{"values":[{"intValue":"3"}]}}}]},"scopeProfiles":[{"scope":{"name":"s"},"profiles":[
{"sampleType":{"typeStrindex":1,"unitStrindex":2},"samples":[{"stackIndex":2,"attributeIndices":[1],"linkIndex":1,"timestampsUnixNano":["1700000000000000011",12]}],"timeUnixNano":"1700000000000000000","durationNano":"5","periodType":{"typeStrindex":3,"unitStrindex":4},"period":"20"},
{"sampleType":{"typeStrindex":3,"unitStrindex":4},"samples":[{"stackIndex":1,"values":["7","8"],"timestampsUnixNano":["1700000000000000011",12]},{"stackIndex":1,"values":[-3]}]}]}]}],
"dictionary":{"mappingTable":[{},{"memoryStart":"4096","filenameStrindex":5,"attributeIndices":[2]}],"locationTable":[{},{"mappingIndex":1,"address":4100,"lines":[{"functionIndex":1,"line":"7"}]},{"address":"9"}],
"functionTable":[{},{"nameStrindex":5}],"linkTable":[{},{"traceId":"000102030405060708090a0b0c0d0e0f","spanId":"0102030405060708"}],
"stringTable":["","samples","count","cpu","nanoseconds","main","thread.name"],"attributeTable":[{},{"keyStrindex":6,"value":{"stringValue":"w"}},{"keyStrindex":6,"value":{"boolValue":true}}],"stackTable":[{},{"locationIndices":[1]},{"locationIndices":[2,1]}]}}"#;

pub(crate) const FOLDED: &[u8] = b"main;work;read_[k] 12\nmain;idle -3\n\nmain;main;main 9000000000\n";

pub(crate) const PERF_SCRIPT: &[u8] = b"# captured on: some day
swapper     0 [000] 14710.769574:   10101010 cpu-clock:
\tffffffff821f5b65 irqentry_exit+0x105 ([kernel.kallsyms])
\t            113b [unknown] (/bin/burn)

Web Content  4102/4103 14711.269574:   10101010 cpu-clock:u:
\t            113b std::fib<int, long>(char const*)+0x12 (/bin/burn)
\t            1147 helper (inlined)
\t            1152 main+0x29 (/bin/my program)
  burn.c:2

burn  4102 14711.3: sched:sched_switch: prev_comm=burn prev_pid=4102 next_comm=x
\t            1152 main+0x29 (/bin/burn)
burn 4102 cpu_core/cycles/u:
        1152 main

burn 4102 14711.4: PERF_RECORD_EXIT(4102:4102):(1:1)
:-1    -1 [001] 14711.5:     250000 task-clock:
\t        7f6e1234 [unknown] (/memfd:doublemapper (deleted))

            burn 4102 14711.6:    3333333 cpu-clock:      562d1f95c299 mid+0x19 (/bin/burn)
";

/// With samples and times.
pub(crate) const CPU_PROFILE: &[u8] = br#"{"nodes":[{"id":1,"callFrame":{"functionName":"(root)","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1},"hitCount":0,"children":[2,4]},
{"id":2,"callFrame":{"functionName":"main","scriptId":"7","url":"file:///app.js","lineNumber":6,"columnNumber":2},"hitCount":1,"children":[3]},
{"id":3,"callFrame":{"functionName":"","scriptId":"7","url":"file:///app.js","lineNumber":9,"columnNumber":0},"hitCount":2},
{"id":4,"callFrame":{"functionName":"(idle)","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1},"hitCount":1}],
"startTime":1000,"endTime":6000,"samples":[2,3,3,4],"timeDeltas":[0,1000,1500,2000]}"#;

/// With hits and callers, as old files and some tools have them.
pub(crate) const CPU_PROFILE_HITS: &[u8] = br#"{"nodes":[{"id":1,"callFrame":{"functionName":"(root)"}},{"id":2,"parent":1,"hitCount":3,"callFrame":{"functionName":"a\u00e9","url":"x.js"}},{"id":3,"parent":2,"hitCount":1,"callFrame":{"functionName":"b","lineNumber":2}}],"startTime":0,"endTime":4e3}"#;

/// The tree of calls of old files, with half a character in a name.
pub(crate) const CPU_PROFILE_TREE: &[u8] = br#"{"head":{"functionName":"(root)","url":"","lineNumber":0,"id":1,"hitCount":0,"children":[{"functionName":"a\ud800","url":null,"lineNumber":3.0,"id":2,"hitCount":2,"children":[]}]},"startTime":2,"endTime":2,"samples":[2,2],"timestamps":[2000010,2000020,2000050]}"#;

/// A thread with tables of its own, and one with weights in bytes.
pub(crate) const FIREFOX: &[u8] = br#"{"meta":{"interval":2,"startTime":1700000000000.5,"version":30},"threads":[{"name":"GeckoMain","processName":"p","pid":1,"samples":{"stack":[1,1,null,2],"time":[0,1,2,3],"weight":null,"weightType":"samples"},
"stringArray":["main","work","app.js"],"funcTable":{"name":[0,1],"fileName":[2,null],"isJS":[true,false],"length":2},"frameTable":{"func":[0,1],"line":[7,null],"length":2},"stackTable":{"frame":[0,1,1],"prefix":[null,0,1],"length":3}},
{"name":"Alloc","samples":{"stack":[0,1],"weight":[100,-30],"weightType":"bytes"},"stringArray":["a","b"],"funcTable":{"name":[0,1]},"frameTable":{"func":[0,1]},"stackTable":{"frame":[0,1],"prefix":[null,0]}}]}"#;

/// Tables that all threads share.
pub(crate) const FIREFOX_SHARED: &[u8] = br#"{"meta":{"interval":1},"shared":{"stringArray":["main"],"funcTable":{"name":[0]},"frameTable":{"func":[0]},"stackTable":{"frame":[0],"prefix":[null]}},"threads":[{"name":"t","samples":{"stack":[0,null],"weight":[2.5,1],"weightType":"tracing-ms"}}]}"#;

/// Tables of newer files: callers by distance, and files by source.
pub(crate) const FIREFOX_SOURCES: &[u8] = br#"{"meta":{"interval":1},"shared":{"stringArray":["main","work","app.js"],"sources":{"filename":[2],"length":1},"funcTable":{"name":[0,1],"source":[0,null]},"frameTable":{"func":[0,1]},"stackTable":{"frame":[0,1,1],"prefixOffset":[0,1,2]}},"threads":[{"name":"t","samples":{"stack":[1,2,null],"weight":[1,null,2]}}]}"#;
