;; Sleeps for no time for ever.
;; expect: ends more than 10000 journal rows
(func (export "step#run") (param i32 i32) (result i32)
  (loop $again (drop (call $timers.sleep (i64.const 0))) (br $again)) unreachable)
