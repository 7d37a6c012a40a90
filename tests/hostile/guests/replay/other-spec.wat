;; Goes by the time: the same command in another folder.
;; call: repeat
;; grants: commands = ["make"]
;; expect: ends did not repeat itself
(func (export "step#run") (param i32 i32) (result i32)
  (if (i64.eqz (call $clock.now))
    (then (drop (call $run (call $argv (text "make") (text "a")))))
    (else (call $spec.set-workdir (call $argv (text "make") (text "a")) (text "other")) (drop (call $run (i32.const 1)))))
  (call $done))
