;; Stores under a name of two lines.
;; grants: artefacts = ["*"]
;; expect: ends a control character
(func (export "step#run") (param i32 i32) (result i32)
  (call $artefacts.publish (text "build/app") (text "app\0aX-Header: 1") (i32.const 256))
  (call $stored))
