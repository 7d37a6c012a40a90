;; An argument with a zero byte, which cuts it off for the system.
;; grants: commands = ["*"]
;; expect: ends zero byte
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (call $run (call $argv (text "rm") (text "-rf\00build"))))
