;; Goes by the time: another command. The recorded one has run; the other must not.
;; call: repeat
;; grants: commands = ["make"]
;; expect: ends did not repeat itself
(func (export "step#run") (param i32 i32) (result i32)
  (if (i64.eqz (call $clock.now))
    (then (drop (call $run (call $argv (text "make") (text "a")))))
    (else (drop (call $run (call $argv (text "make") (text "b"))))))
  (call $done))
