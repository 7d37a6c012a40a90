;; Hides the end of a path behind a zero byte.
;; grants: artefacts = ["*"]
;; expect: ends a file inside the builder
(func (export "step#run") (param i32 i32) (result i32)
  (call $artefacts.publish (text "build/app\00/../../key") (text "key") (i32.const 256))
  (call $stored))
