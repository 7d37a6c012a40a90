;; Stores under a name that reads otherwise than it is.
;; grants: artefacts = ["*"]
;; expect: ends a control character
(func (export "step#run") (param i32 i32) (result i32)
  (call $artefacts.publish (text "build/app") (text "app-gnp.\e2\80\aeexe") (i32.const 256))
  (call $stored))
