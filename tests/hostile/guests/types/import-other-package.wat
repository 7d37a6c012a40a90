;; Imports a package whose name begins like the plugin package.
;; expect: refused which no master offers
(component (import "capstan:plugins/log@0.1.0" (instance)))
