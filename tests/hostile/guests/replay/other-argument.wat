;; Goes by the time: the same call with another argument.
;; call: repeat
;; grants: commands = ["make"]
;; expect: ends did not repeat itself
(func (export "step#run") (param i32 i32) (result i32)
  (if (i64.eqz (call $clock.now))
    (then (drop (call $timers.sleep (i64.const 1))))
    (else (drop (call $timers.sleep (i64.const 2)))))
  (call $done))
