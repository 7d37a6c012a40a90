;; Stores under the path of a file.
;; grants: artefacts = ["*"]
;; expect: ends begins with
(func (export "step#run") (param i32 i32) (result i32)
  (call $artefacts.publish (text "build/app") (text "/etc/passwd") (i32.const 256))
  (call $stored))
