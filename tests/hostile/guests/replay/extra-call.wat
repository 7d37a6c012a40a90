;; Goes by the time: a call comes before the recorded ones.
;; call: repeat
;; grants: commands = ["make"]
;; expect: ends did not repeat itself
(func (export "step#run") (param i32 i32) (result i32)
  (if (i64.eqz (call $clock.now))
    (then (call $build.set-summary (text "a")))
    (else (drop (call $clock.now)) (call $build.set-summary (text "a"))))
  (call $done))
