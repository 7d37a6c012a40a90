;; Publishes a file of the worker's machine.
;; grants: artefacts = ["*"]
;; expect: ends a file inside the builder
(func (export "step#run") (param i32 i32) (result i32)
  (call $artefacts.publish (text "/etc/passwd") (text "passwd") (i32.const 256))
  (call $stored))
