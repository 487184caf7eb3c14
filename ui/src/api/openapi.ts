// Made from crates/api/src/openapi.json by `npm run api-types`; a test compares the two.

export interface Error {
  /** As in the Connect protocol: invalid_argument, resource_exhausted, … */
  code: string;
  /** Where the fault is, what it is, and what to do about it. */
  message: string;
}

/** Names and values of labels. */
export type Labels = Record<string, string>;

export interface Compaction {
  tables: {
    name: string;
    before: Size;
    after: Size;
  }[];
  compactions: number;
  flushes: number;
}

export interface Size {
  files: number;
  bytes: number;
}

export interface Heatmap {
  /** The profile type. */
  type: string;
  /** Begin of the first column, milliseconds since 1970. */
  start: number;
  /** Milliseconds of a column. */
  step: number;
  columns: number;
  /** What the bands lie between: min and max of the question, or the least and the largest value, and up to 0 at least; null when nothing was found. */
  values: {
    min: number;
    max: number;
  } | null;
  /** First value of each band, cut to a whole number; of bands that begin alike the last has what lies there. */
  bands: number[];
  /** Column, band and count of each cell that something fell into. */
  cells: [number, number, number][];
}

export interface Profiles {
  profiles: Profile[];
  /** Whether there are more than were asked for. */
  more: boolean;
}

export interface Profile {
  id: string;
  /** Milliseconds since 1970. */
  time: number;
  /** Milliseconds. */
  duration: number;
  total: number;
  labels: Labels;
}

export interface Spans {
  spans: Span[];
  more: boolean;
}

export interface Span {
  id: string;
  /** Empty when it is not known. */
  trace: string;
  time: number;
  total: number;
  labels: Labels;
}

export interface Deleted {
  series: number;
  profiles: number;
  files: number;
  traces: number;
}

export interface BuildInfo {
  status: string;
  data: {
    version: string;
    revision: string;
    branch: string;
    buildUser: string;
    buildDate: string;
    goVersion: string;
  };
}

export interface TenantLimits {
  /** Bytes a second; 0 for any number. */
  ingestion_rate: number;
  ingestion_burst_size: number;
  max_global_series_per_user: number;
}

export interface Dropped {
  since: string;
  now: string;
  totals: {
    reason: Reason;
    what: What;
    count: number;
    bytes: number;
  }[];
  dropped: DroppedOfService[];
}

export interface DroppedOfService {
  tenant: string;
  /** Null when it is not known, or when this adds up several services. */
  service: string | null;
  reason: Reason;
  what: What;
  count: number;
  bytes: number;
  first: string;
  last: string;
  example: {
    labels: Labels;
    message: string;
  };
}

export type Reason = "relabel" | "tenant_rate" | "service_rate" | "too_large" | "unprocessable" | "invalid_argument" | "unavailable" | "internal" | "label_too_long" | "label_sets_per_upload" | "label_sets_per_service" | "too_many_labels" | "stack_depth" | "string_length" | "forward_spool_full" | "forward_refused" | "forward_spool";

/** What is counted. */
export type What = "profiles" | "labels" | "stacks" | "strings" | "forwards";

export interface Status {
  version: string;
  ingest: {
    received: number;
    receivedBytes: number;
    stored: number;
    deduplicated: number;
    samples: number;
    labelsDropped: number;
    stacksCut: number;
    stringsCut: number;
    rejected: Record<string, number>;
  };
  lake: {
    headBytes: number;
    headBytesLimit: number;
    headProfiles: number;
    walBytes: number;
    walSyncs: number;
    walDamagedRecords: number;
    flushes: number;
    flushFailures: number;
    compactions: number;
    compactionFailures: number;
    compactionPendingFiles: number;
    series: number;
    cachedStacks: number;
    bytes: number;
    tables: {
      name: string;
      files: number;
      bytes: number;
    }[];
    bytesLimit: number | null;
    storage: {
      cacheBytes: number;
      cacheBytesLimit: number;
      fetchedBytes: number;
      requests: number;
      retries: number;
      failures: number;
    } | null;
    expiring: {
      table: string;
      oldest: string;
      at: string;
      bytes: number;
    }[];
  };
}

export interface Link {
  id: string;
  /** The path that leads there. */
  url: string;
}

export interface Queries {
  queries: {
    /** When it was asked, milliseconds since 1970. */
    at: number;
    kind: string;
    query: string;
    /** Start of its range, milliseconds since 1970. */
    from: number;
    /** End of its range, milliseconds since 1970. */
    until: number;
    milliseconds: number;
    rows: number;
    bytes: number;
    files: number;
  }[];
}

export interface Clients {
  clients: {
    wire: string;
    /** What it calls itself. */
    agent: string;
    /** When it was first seen, milliseconds since 1970. */
    first: number;
    /** When it was last seen, milliseconds since 1970. */
    last: number;
    requests: number;
  }[];
}

export interface SqlAnswer {
  columns: {
    name: string;
    type: string;
  }[];
  rows: Record<string, unknown>[];
  rowCount: number;
  warnings: string[];
  scanned: {
    files: number;
    rows: number;
    bytes: number;
  };
  milliseconds: number;
}

export interface SqlSchema {
  tables: {
    name: string;
    kind: string;
    description: string;
    columns: {
      name: string;
      type: string;
      nullable: boolean;
      description: string;
    }[];
  }[];
}

export interface Storage {
  /** The largest first. */
  services: {
    name: string;
    bytes: number;
    /** Bytes by table. Row groups that services share are split by rows. */
    tables: Record<string, number>;
  }[];
  /** Bytes of files that are damaged, or in a bucket and not on this machine. */
  unknownBytes: number;
}

export interface Source {
  available: boolean;
}

export interface SourceFile {
  /** Its path in the repository. */
  path: string;
  /** The commit it is of. */
  revision: string;
  /** Whether that is the revision that was asked for. */
  exact: boolean;
  content: string;
  /** Where people can look at it; empty when that is not known. */
  url: string;
}

/** What a GET of each path answers in JSON. */
export interface Answers {
  /** This document. */
  "/api/v1/openapi.json": Record<string, unknown>;
  /** How many profiles or spans there are by time and value. */
  "/api/v1/heatmap": Heatmap;
  /** Single profiles. */
  "/api/v1/profiles": Profiles;
  /** Single spans, once for each profile that knows them, the largest first. */
  "/api/v1/spans": Spans;
  /** What came in, what is stored, and what goes next. */
  "/api/v1/status": Status;
  /** What was not stored as it came since the start: why, how much, and whose it was; the latest first. */
  "/api/v1/status/dropped": Dropped;
  /** Which build this is, in the form of Prometheus. */
  "/api/v1/status/buildinfo": BuildInfo;
  /** Limits, in the form of Pyroscope. */
  "/api/v1/tenant_limits": TenantLimits;
  /** The slowest queries of the last hour. */
  "/api/v1/status/queries": Queries;
  /** Who sent and asked lately, the latest first. */
  "/api/v1/status/clients": Clients;
  /** What each service takes on disk. */
  "/api/v1/status/storage": Storage;
  /** What statements can read. 501 in a build without SQL. */
  "/api/v1/sql/schema": SqlSchema;
  /** Whether the source code of a service can be shown. */
  "/api/v1/source": Source;
  /** A source file of a service. */
  "/api/v1/source/file": SourceFile;
}

/** What a POST answers. */
export interface Posted {
  /** Moves new profiles into the tables, sums, merges and deletes what is due. Answers when it is done. */
  "/api/v1/lake/compact": Compaction;
  /** Stores where a page is looked at, and answers a short link to it. */
  "/api/v1/links": Link;
  /** Answers one statement over the tables; as an Arrow stream when Accept asks for it. 501 in a build without SQL. */
  "/api/v1/sql": SqlAnswer;
}
