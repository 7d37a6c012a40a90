;; Goes by the time: another summary, of which the journal has a digest only.
;; call: repeat
;; grants: commands = ["make"]
;; expect: ends did not repeat itself
(func (export "step#run") (param i32 i32) (result i32)
  (if (i64.eqz (call $clock.now))
    (then (call $build.set-summary (text "a")))
    (else (call $build.set-summary (text "b"))))
  (call $done))
