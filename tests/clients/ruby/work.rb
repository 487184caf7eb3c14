# Works for as many seconds as it is told, nearly all of them in one method that calls nothing.

def everflame_hot_ruby
  sum = number = 0
  while number < 100_000
    sum = (sum + number * number) % 1_000_003
    number += 1
  end
  sum
end

def everflame_work(seconds)
  ends = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
  everflame_hot_ruby while Process.clock_gettime(Process::CLOCK_MONOTONIC) < ends
end

everflame_work(Float(ARGV.fetch(0)))
