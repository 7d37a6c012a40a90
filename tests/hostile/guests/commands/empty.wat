;; A program with no name and no arguments.
;; grants: commands = ["*"]
;; expect: ends expected a program
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (call $run (call $spec.argv (i32.const 512) (i32.const 0))))
