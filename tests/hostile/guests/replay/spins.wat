;; Goes by the time: spins where it went on.
;; call: repeat
;; expect: ends it ran for more than 300 ms
(func (export "step#run") (param i32 i32) (result i32)
  (if (i64.ne (call $clock.now) (i64.const 0)) (then (loop $again (br $again))))
  (call $build.set-summary (text "a"))
  (call $done))
