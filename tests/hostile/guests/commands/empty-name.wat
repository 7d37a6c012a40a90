;; A program whose name is empty.
;; grants: commands = ["*"]
;; expect: ends expected a program
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (call $run (call $argv (text "") (text "x"))))
