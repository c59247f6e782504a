// A library and three programs on the JVM: `gradle run --args picture.png`, `gradle verify`, `gradle test`, with Gradle 8.2 or newer
// and Java 17 or newer.
// An Android project takes the same sources: see docs of this package, or its sample app.
import groovy.json.JsonSlurper
import org.jetbrains.kotlin.gradle.dsl.JvmTarget

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
    testRuntimeOnly("org.junit.platform:junit-platform-launcher") // Gradle 9 brings none; of the release that kotlin-test's JUnit names
}

java {
    sourceCompatibility = JavaVersion.VERSION_17
    targetCompatibility = JavaVersion.VERSION_17
}

kotlin {
    compilerOptions { jvmTarget = JvmTarget.JVM_17 }
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
