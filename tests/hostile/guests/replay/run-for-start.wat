;; Goes by the time: starts what it has run.
;; call: repeat
;; grants: commands = ["make"]
;; expect: ends did not repeat itself
(func (export "step#run") (param i32 i32) (result i32)
  (if (i64.eqz (call $clock.now))
    (then (drop (call $run (call $argv (text "make") (text "a")))))
    (else (drop (call $start (call $argv (text "make") (text "a"))))))
  (call $done))
