;; Stores something while its parameters are checked.
;; call: check
;; grants: artefacts = ["*"]
;; expect: ends artefacts.write
(func (export "step#check") (param i32 i32) (result i32)
  (call $artefacts.write (text "app") (text "x") (i32.const 256))
  (call $stored))
