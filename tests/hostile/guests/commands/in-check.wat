;; Starts a command while a configuration is only checked.
;; call: check
;; grants: commands = ["*"]
;; expect: ends commands.run, which is not allowed here
(func (export "step#check") (param i32 i32) (result i32)
  (call $run (call $argv (text "make") (text "x"))))
