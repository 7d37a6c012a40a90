;; A program that nobody granted.
;; grants: commands = ["make"]
;; expect: ends may not use commands `sh`
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (call $run (call $spec.shell (text "id"))))
