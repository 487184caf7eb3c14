// Statements to begin with. Their names are in texts/.

const CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

export const EXAMPLES = {
  services: `SELECT service, profile_type, count(*) AS profiles, max(time) AS newest
FROM profiles
GROUP BY service, profile_type
ORDER BY profiles DESC`,
  functions: `SELECT function, sum(value) / 1e9 AS cpu_seconds
FROM stack_samples_5m
WHERE profile_type = '${CPU}'
  AND time >= now() - interval '1 day'
GROUP BY function
ORDER BY cpu_seconds DESC
LIMIT 30`,
  overTime: `SELECT date_trunc('minute', time) AS minute, sum(total) / 6e10 AS cores
FROM profiles
WHERE profile_type = '${CPU}'
  AND time >= now() - interval '1 hour'
GROUP BY minute
ORDER BY minute`,
  packages: `SELECT package(function) AS package, sum(value) / 1e9 AS cpu_seconds
FROM stack_samples_5m
WHERE profile_type = '${CPU}'
  AND time >= now() - interval '1 day'
GROUP BY package
ORDER BY cpu_seconds DESC
LIMIT 20`,
  flamegraph: `SELECT level, function, self / 1e9 AS self_seconds, total / 1e9 AS total_seconds
FROM flamegraph('${CPU}', '{}', now() - interval '1 hour', now())
WHERE level < 5
ORDER BY node`,
} as const;

export type Example = keyof typeof EXAMPLES;
