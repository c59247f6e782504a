// A library and three programs on the JVM: `gradle run --args picture.png`, `gradle verify`, `gradle test`.
// An Android project takes the same sources: see docs of this package, or its sample app.
import groovy.json.JsonSlurper

plugins {
    kotlin("jvm") version "2.4.20"
    application
}

val metadata = JsonSlurper().parse(file("../../metadata.json")) as Map<*, *>
val format = (metadata["model_info"] as Map<*, *>)["export_format"]
val backend = if (format == "onnx") "OnnxRuntime" else "NoRuntime"

dependencies {
    if (format == "onnx") implementation("com.microsoft.onnxruntime:onnxruntime:1.29.0")
    testImplementation(kotlin("test"))
}

kotlin {
    jvmToolchain(17)
    compilerOptions { allWarningsAsErrors = true }
    sourceSets {
        main {
            kotlin.setSrcDirs(listOf("."))
            kotlin.setIncludes(
                listOf("*.kt", "processing/**", "verify/**", "platform/Jvm*.kt", "backends/Backend.kt", "backends/$backend.kt"),
            )
        }
        test { kotlin.setSrcDirs(listOf("tests")) }
    }
}

application { mainClass = "modelport.ExampleKt" }

tasks.register<JavaExec>("verify") {
    description = "Repeats the golden vectors of this package."
    group = "verification"
    classpath = sourceSets["main"].runtimeClasspath
    mainClass = "modelport.verify.VerifyKt"
    args(if (format == "onnx") listOf("../..") else listOf("--without-model", "../.."))
}

tasks.test { useJUnitPlatform() }
